# syntax=docker/dockerfile:1
# The base is pinned by its full version. To pin it by content as well, ask a registry for the digest
# (`docker buildx imagetools inspect python:3.11.14-slim-bookworm`) and write `python:3.11.14-slim-bookworm@sha256:…`.
FROM python:3.11.14-slim-bookworm AS packages
COPY requirements.lock .
# Wheels only: nothing is compiled, and no package runs code of its own while it is installed.
RUN python -m venv /opt/kehu \
    && /opt/kehu/bin/pip install --no-cache-dir --disable-pip-version-check --only-binary=:all: \
        --require-hashes -r requirements.lock

FROM python:3.11.14-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin kehu
ENV PATH=/opt/kehu/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=packages /opt/kehu /opt/kehu
WORKDIR /app
COPY domain domain
COPY projections projections
COPY consumers consumers
COPY infra infra
COPY examples examples
USER 10001
# The default asks the database; a service that is no worker may override it.
HEALTHCHECK --interval=30s --timeout=20s --start-period=30s --retries=3 \
    CMD ["python", "-m", "infra.cli", "show", "reconciliation", "--json"]
ENTRYPOINT ["python", "-m", "infra.cli"]
CMD ["--help"]
