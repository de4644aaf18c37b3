# docker build -t smoothmorph . && docker run --rm -v "$PWD":/data smoothmorph run demo
# On Linux, PyTorch from the package index has CUDA: add `--gpus all` to use a GPU.
FROM python:3.12-slim
COPY . /src
RUN pip install --no-cache-dir -c /src/constraints.txt /src && rm -rf /src
RUN useradd --create-home smoothmorph && mkdir /data && chown smoothmorph /data
USER smoothmorph
WORKDIR /data
ENTRYPOINT ["smoothmorph"]
CMD ["--help"]
