"""docs/performance.md: its inputs, tables and charts."""
