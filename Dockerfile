# One image for every role. docker-compose.yml runs it in two roles, docs/deployment.md explains both.

FROM python:3.11-slim AS wheels
WORKDIR /source
COPY LICENSE README.md pyproject.toml ./
COPY clients/python clients/python
COPY migrations migrations
COPY models models
COPY service service
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./clients/python .


FROM python:3.11-slim
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1

# From what changes least to what changes most: torch, the other dependencies, our own code.
WORKDIR /build
COPY constraints.txt ./
# The default index may serve a torch with CUDA, several GB, which the GPU needs. Another index may serve a CPU build.
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --constraint constraints.txt torch

COPY pyproject.toml service.toml
COPY clients/python/pyproject.toml client.toml
RUN python -c "import tomllib; [print(need) for name in ('service', 'client') for need in tomllib.load(open(name + '.toml', 'rb'))['project']['dependencies'] if not need.startswith('amstream')]" > requirements.txt \
    && pip install --constraint constraints.txt --requirement requirements.txt

RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels pip install --no-deps /wheels/*.whl && pip check

RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data --shell /usr/sbin/nologin amstream \
    && install --directory --owner amstream --group amstream --mode 0700 /data
USER amstream
WORKDIR /data

ENV AMSTREAM_HOST=0.0.0.0 AMSTREAM_DATA_DIR=/data
EXPOSE 8707
HEALTHCHECK --interval=10s --timeout=6s --retries=3 --start-period=60s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8707, timeout=5); c.request('GET', '/readyz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["amstream"]
CMD ["serve"]
