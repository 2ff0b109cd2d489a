# make demo     installs what is needed into .venv, trains a small model on the bundled chats, lets it talk
# make chat     talks with it
# make test     installs what tests need, runs the tests
# make bench    times and measures everything at 124M's size and writes benchmarks/RESULTS.md (random weights; an hour and 14 GB of memory);
#               PEERS=path/to/python: beside the libraries that this Python has

PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo chat test bench

demo: .venv/installed
	@echo; echo "== 1. Exports of Messenger, WhatsApp and Telegram become one text"
	$(PY) import_chats.py demo/exports --out demo/chats.txt --validation 0.07
	@echo; echo "== 2. Text becomes tokens"
	$(PY) encode.py demo/chats.txt demo/chats.npz --model_name demo
	@echo; echo "== 3. A small model learns from them (about two minutes; random weights, so it starts from nothing)"
	$(PY) train.py --dataset demo/chats.npz --val_dataset demo/chats.validation.txt --model_name demo --run_name demo --windows turns \
	    --restore_from scratch --learning_rate 3e-3 --schedule cosine --warmup_steps 100 --beta2 0.99 --batch_size 12 --noise 0.1 --stop_after 1001 --val_every 250 \
	    --val_batch_size 8 --val_batch_count 12 --save_every 0 --sample_every 0 --print_every 100 --seed 1
	@echo; echo "== 4. It makes up a conversation among friends"
	$(PY) src/generate_unconditional_samples.py --run_name demo --nsamples 1 --temperature 0.7 --top_k 40 --seed 1
	@echo; echo "== 5. It answers as Mara"
	$(PY) chatter.py --run_name demo --me Theo --as Mara --temperature 0.6 --seed 1 < demo/theo_says.txt
	@echo; echo "Talk to it yourself:   make chat"
	@echo "With GPT-2 itself, and your own chats (a GPU helps):"
	@echo "    $(PY) download_model.py 124M"
	@echo "    $(PY) import_chats.py your_exports --out corpus.txt"
	@echo "    $(PY) encode.py corpus.txt corpus.npz"
	@echo "    $(PY) train.py --dataset corpus.npz --windows turns"
	@echo "    $(PY) chatter.py --run_name run1"

chat: .venv/installed
	@test -f checkpoint/demo/checkpoint || { echo "There is no demo model yet: make demo trains it."; exit 1; }
	$(PY) chatter.py --run_name demo --me Theo --as Mara --temperature 0.6

test: .venv/installed-dev
	$(PY) -m pytest -q -n 2 --dist worksteal tests

bench: .venv/installed-dev
	$(PY) benchmarks/all.py $(if $(PEERS),--peer_python $(PEERS))

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	    { echo "TensorFlow needs Python 3.10 to 3.13; name one: make demo PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv || { echo "python3 lacks its venv module: apt-get install python3-venv, or its like, brings it"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
