"""`python -m fhir_coprod` is the command `fhir-coprod`."""

from fhir_coprod.cli import main

if __name__ == "__main__":
    main()
