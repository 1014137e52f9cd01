"""A process that serves a GGUF file by llama.cpp over HTTP, until its input ends: `python gguf_server.py FILE`."""

import sys

import xllamacpp

wanted = xllamacpp.CommonParams()
wanted.model.path = sys.argv[1]
wanted.n_ctx, wanted.n_parallel, wanted.n_gpu_layers = 2048, 1, 0
wanted.warmup, wanted.ui, wanted.fit_params, wanted.verbosity = False, False, False, 0
wanted.cpuparams.n_threads = wanted.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(wanted)
print(server.listening_address, flush=True)
sys.stdin.read()
