"""The engine that runs an expression as nested functions: slower than generated code, and its oracle."""
