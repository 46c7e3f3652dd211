"""Tables and report: what people read, made from tables and maps only."""
