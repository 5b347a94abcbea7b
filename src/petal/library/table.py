"""Say where each built-in operator lives, so that none is imported before it is used."""

#: Type name -> ``module:function``.
OPERATORS: dict[str, str] = {
    "EmptySource": "petal.library.noop:empty_source",
    "NoOpTransformer": "petal.library.noop:noop_transformer",
    "NoOpSink": "petal.library.noop:noop_sink",
    "FileReader": "petal.library.text:file_reader",
    "FileWriter": "petal.library.text:file_writer",
    "RegexFilter": "petal.library.lines:regex_filter",
    "Splitter": "petal.library.lines:splitter",
    "ListMerger": "petal.library.merge:list_merger",
    "JsonFileReader": "petal.library.json_files:json_file_reader",
    "JsonFileWriter": "petal.library.json_files:json_file_writer",
    "CsvReader": "petal.library.csv_files:csv_reader",
    "CsvWriter": "petal.library.csv_files:csv_writer",
    "KeyExtractor": "petal.library.records:key_extractor",
    "Select": "petal.library.records:select",
    "Join": "petal.library.records:join",
    "Aggregate": "petal.library.aggregate:aggregate",
    "Sort": "petal.library.rows:sort",
    "Deduplicate": "petal.library.rows:deduplicate",
    "Limit": "petal.library.rows:limit",
}
