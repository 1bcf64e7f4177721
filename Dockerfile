# Built with any Debian-based image that has Python 3.11:
#   docker build --build-arg BASE=python:3.11-slim-bookworm -t seedbed .
#   docker run -p 127.0.0.1:8470:8470 -v seedbed:/data seedbed
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY plugins plugins
COPY server server
RUN python3 -m venv /opt/seedbed \
    && /opt/seedbed/bin/python -m pip install --no-cache-dir --constraint constraints.txt ".[server,vision,text,audio,s3,gcs,postgres]"

FROM ${BASE}
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin seedbed \
    && mkdir /data \
    && chown seedbed /data \
    && chmod 0700 /data
COPY --from=build /opt/seedbed /opt/seedbed
ENV PATH=/opt/seedbed/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SEEDBED_DATA_DIR=/data
USER seedbed
VOLUME /data
EXPOSE 8470
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["seedbed", "--server", "127.0.0.1:8470", "tasks"]
# A container has its own network; the port is published on the host's loopback above.
ENTRYPOINT ["seedbed", "serve"]
CMD ["--address", "0.0.0.0:8470", "--data-dir", "/data", "--insecure"]
