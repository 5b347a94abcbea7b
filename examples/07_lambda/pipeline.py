"""Case 7 in Python: `remote` says where an operator runs, above its definition or, as here, from outside."""

from operators import SentimentAnalyzer

from petal import Pipeline, node, remote

on_lambda = remote(backend="aws_lambda", function_name="petal-sentiment-analyze", region="us-east-1")

pipeline = Pipeline.of(
    node("FileReader", id="reader", file_path="input.txt"),
    node(on_lambda(SentimentAnalyzer), id="lambda_transform", inputs={"lines": "reader"}),
    node("FileWriter", id="writer", inputs={"lines": "lambda_transform"}, file_path="output.txt"),
    name="sentiment",
)

if __name__ == "__main__":
    pipeline.run().check()
