"""Beyond one machine, on Ray. Nothing else in the library imports this room, and Ray is loaded only when it is used."""
