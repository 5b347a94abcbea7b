"""Two cities' temperatures by month, in Python."""

from operators import readings, vega_csv

from petal import Pipeline, node

RESULTS = {"mean": "mean(temp)", "min": "min(temp)", "max": "max(temp)", "hours": "count()"}

pipeline = Pipeline.of(
    # Two cities, two files: their columns stand in another order, their dates are written in another way.
    node(vega_csv, id="seattle_file", name="seattle-temps"),
    node(vega_csv, id="sf_file", name="sf-temps"),
    node(
        readings,
        id="seattle",
        inputs={"records": "seattle_file"},
        city="Seattle",
        date_format="%Y/%m/%d %H:%M",
    ),
    node(
        readings,
        id="sf",
        inputs={"records": "sf_file"},
        city="San Francisco",
        date_format="%Y/%m/%d %H:%M:%S",
    ),
    node("ListMerger", id="all", inputs={"lists": ["seattle", "sf"]}),
    # Where the cities are.
    node("JsonFileReader", id="cities", file_path="cities.json"),
    node("Join", id="placed", inputs={"left": "all", "right": "cities"}, on="city"),
    # What is wanted: a row per city and month, as CSV and as JSON.
    node(
        "Aggregate",
        id="months",
        inputs={"records": "placed"},
        group_by=["state", "city", "month"],
        aggregations=RESULTS,
    ),
    node("CsvWriter", id="csv", inputs={"records": "months"}, file_path="months.csv"),
    node("JsonFileWriter", id="json", inputs={"records": "months"}, file_path="months.json", format="array"),
    name="weather",
)

if __name__ == "__main__":
    pipeline.run().check()
