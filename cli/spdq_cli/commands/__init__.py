"""One module a command or group; heavy imports stand inside the functions, so that help is quick."""
