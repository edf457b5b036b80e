"""The engine that runs an expression as nested functions: slower than generated code, which it checks."""
