"""The map of the estate: every asset a DAG publishes, and nothing else.

Named ``<system>.<layer>.<thing>``. Each has exactly one producing task; consumers take one asset each (see
``dagkit.partitions``). An event carries the partition (a local business day or slot) and, as ``extra``, what the step
did: counts, months, places.
"""

from airflow.sdk import Asset

COMMERCIAL_LOG_WORKBOOK = Asset("commercial_log.landing.workbook", group="commercial_log")
COMMERCIAL_LOG_SPOTS = Asset("commercial_log.curated.spots", group="commercial_log")
COMMERCIAL_LOG_ARCHIVES = Asset("commercial_log.landing.archives", group="commercial_log")
COMMERCIAL_LOG_BACKUP = Asset("commercial_log.audit.backup", group="commercial_log")
