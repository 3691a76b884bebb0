"""The integration tier: real servers of the sandbox, and of Airflow what looks up a connection; no scheduler."""

import atexit
import os
import shutil
import tempfile

# Airflow reads it when it is first imported, so it is set before any test module is.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
