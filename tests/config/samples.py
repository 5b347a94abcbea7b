"""Pipeline files that several tests read: the design's example, and the snippets of the user's brief."""

from __future__ import annotations

#: Everything a file can say.
FULL = """\
$schema: ./schema.json
name: extract_logs
plugins: [./operators.py]
params: { pattern: '^ERROR' }
inputs: { day: '2026-01-01' }
cache_io: true
defaults: { timeout: 5m }
run_timeout: 1h
nodes:
  - id: reader
    type: FileReader
    params: { file_path: input.txt }
  - id: filter
    type: RegexFilter
    params: { pattern: '${params.pattern}' }
    inputs: { lines: reader, more: [reader, pre.output] }
    execution: { backend: docker, image: 'myorg/nlp:${params.tag}', failover: [local] }
    retry: { max_attempts: 3, delay: 500ms, retry_on: OSError }
    timeout: 30s
    cache: { ttl: 12h, version: 2, depends_on: [a.txt] }
    batch: { size: 1000, in_flight: 8, ordered: true }
    effects: pure
    after: cleanup
edges:
  - [reader, filter]
  - { from: filter.errors, to: pre }
modules:
  - { id: pre, path: preprocessing.yaml, params: {a: 1}, inputs: {x: reader}, after: [reader] }
outputs: { output: filter }
"""

CASE_2 = """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: input.txt }

  - id: filter
    type: RegexFilter
    params: { pattern: '^ERROR' }

  - id: writer
    type: FileWriter
    params: { file_path: output.txt }

edges:
  - [reader, filter]
  - [filter, writer]
"""

CASE_9 = """\
cache_io: true
nodes:
  - id: flaky
    type: FlakyTransformer
    params: {}
    retry: 3
"""

CASE_10 = """\
modules:
  - id: preprocessor
    path: preprocessing.yaml

edges:
  - [preprocessor.output, main_writer]
"""

BACKENDS = """\
nodes:
  - id: reader
    type: FileReader
    params: { file_path: "input.txt" }

  - id: lambda_transform
    type: SentimentAnalyzer
    execution:
      backend: aws_lambda
      function_name: petal-sentiment-analyze
      region: us-east-1

  - id: writer
    type: FileWriter
    params: { file_path: "output.txt" }

edges:
  - [reader, lambda_transform]
  - [lambda_transform, writer]
"""

LAMBDA_FRAGMENT = """\
nodes:
- id: compress
  type: GzipCompressor
  execution:
    backend: aws_lambda
    region: us-east-1
"""

DOCKER_FRAGMENT = """\
nodes:
- id: nlp
  type: Nlp
  execution:
    backend: docker
    image: myorg/nlp-tools:latest
    entrypoint: analyze_text.py
"""

#: The brief's complete snippets, and its fragments with what surrounds them.
SNIPPETS = [CASE_2, CASE_9, CASE_10, BACKENDS, LAMBDA_FRAGMENT, DOCKER_FRAGMENT]
