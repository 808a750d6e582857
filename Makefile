# make demo   set up a virtual environment and run LisGAN, f-CLSWGAN, ESZSL and SAE on the built-in digits
# make test   set up and run the tests
# make check  lint, types, layers
# make docs   write docs/methods from the cards of the methods
# make site   build the documentation into site/; read it with: python -m http.server -d site
# make bench  measure speed; make bench-lisgan measures LisGAN's training against a plain implementation
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
GAN := hidden=512,epochs=60,lr=0.0003
DEMO := -m 'lisgan[$(GAN)]' -m 'lisgan@S3[$(GAN)]' -m 'fclswgan[$(GAN)]' -m eszsl -m sae -d digits -p gzsl --seeds 3 --runs demo-runs

.PHONY: demo test check docs site bench bench-lisgan clean

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $@

demo: $(BIN)/.installed
	$(BIN)/zslbench run $(DEMO)
	$(BIN)/zslbench table --runs demo-runs

# A test process per core and one more, with one thread each: the networks of tests are too small to gain by two threads.
# Each takes a stretch of whole files, whose fixtures are then made once, and one that is done takes over from the others.
# Bytecode is kept whatever the environment says: without it, each process compiles the package and the tests again.
test: $(BIN)/.installed
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

check: $(BIN)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(BIN)/.installed
	PYTHONPATH=docs $(BIN)/python -m builders.method_pages docs/methods

site: $(BIN)/.installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(BIN)/.installed
	$(BIN)/python -m pytest benchmarks --benchmark-only

bench-lisgan: $(BIN)/.installed
	$(BIN)/python benchmarks/lisgan.py

clean:
	rm -rf $(VENV) demo-runs build dist site
