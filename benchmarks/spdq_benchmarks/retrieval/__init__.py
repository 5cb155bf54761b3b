"""``spdq bench retrieval``: data sets x methods x trainings x seeds x code lengths, each judged under named protocols.

A job learns one method once and judges all its code lengths (``job.py``); jobs run in processes of their own
(``run.py``) and leave records (``records.py``), of which the report is made (``report.py``).
"""
