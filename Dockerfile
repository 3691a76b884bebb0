# The slim image is Airflow alone, so that constraints.txt decides about every provider and library; the full image
# brings dozens of providers in other versions.
FROM apache/airflow:slim-3.3.2-python3.12

COPY requirements.txt constraints.txt /opt/airflow/
# Byte-compiled here, as the containers run under another user who could not keep the result.
RUN pip install --no-cache-dir --requirement /opt/airflow/requirements.txt --constraint /opt/airflow/constraints.txt \
    && packages="$(python -c 'import pathlib, sqlalchemy; print(pathlib.Path(sqlalchemy.__file__).parents[1])')" \
    && python -m compileall -q -j 0 "$packages"

COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 include /opt/airflow/include
ENV PYTHONPATH=/opt/airflow:/opt/airflow/plugins
RUN python -m compileall -q /opt/airflow/dags /opt/airflow/plugins /opt/airflow/include

# As in the base image: nothing here is built or run by root.
USER airflow
