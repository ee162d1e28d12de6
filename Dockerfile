# The product, for Ray's head and workers (docker-compose.yml). Dependencies are the locked ones, checked by hash.
FROM python:3.11-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /src
COPY requirements.lock ./
RUN pip install --require-hashes --no-deps --requirement requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY models models
COPY actors actors
COPY cluster cluster
RUN pip install --no-deps --no-build-isolation .

# .ray is there for the volume of Ray's token: a new volume takes its owner from here.
RUN useradd --create-home --uid 10001 chipquality \
    && install --directory --owner chipquality --mode 0700 /home/chipquality/.ray
USER chipquality
WORKDIR /home/chipquality

CMD ["chipquality", "run"]
