# The slim image holds Airflow and no other provider, so constraints.txt decides about every other package; the full
# image's own seventy providers would disagree with it.
FROM apache/airflow:slim-3.3.2-python3.12

COPY requirements.txt constraints.txt /opt/airflow/
# Byte-compiled here, as the containers run under another user who could not keep the result.
RUN pip install --no-cache-dir --requirement /opt/airflow/requirements.txt --constraint /opt/airflow/constraints.txt \
    && pip check \
    && python -m compileall -q -j 0 "$(python -c 'import pathlib, sqlalchemy; print(pathlib.Path(sqlalchemy.__file__).parents[1])')"

COPY --chown=airflow:0 dags /opt/airflow/dags
COPY --chown=airflow:0 plugins /opt/airflow/plugins
COPY --chown=airflow:0 include /opt/airflow/include
ENV PYTHONPATH=/opt/airflow:/opt/airflow/plugins
RUN python -m compileall -q /opt/airflow/dags /opt/airflow/plugins /opt/airflow/include

# The base image has set it already; said again so that nobody has to look there.
USER airflow
