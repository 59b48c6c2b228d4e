"""Builds hnswlib and usearch over the vectors foa was measured on, and asks them the same, on one thread.

Arguments: a directory with vectors.f32, tasks.f32 and nearest.u32 (each little endian, row by row), the dimension,
how many nearest are wanted, and how many candidates to keep in a search, separated by commas. Prints one JSON list.
"""

import json
import sys
import time

import numpy as np


def measure(name, build, search, vectors, tasks, nearest, sights):
    began = time.thread_time()
    index = build(vectors)
    built = time.thread_time() - began
    for sight in sights:
        times, hits = [], 0
        for task, wanted in zip(tasks, nearest):
            began = time.thread_time()
            found = search(index, task, sight)
            times.append((time.thread_time() - began) * 1e6)
            hits += len(set(found.tolist()) & set(wanted.tolist()))
        times.sort()
        yield {
            "agents": len(vectors),
            "engine": f"{name} ef {sight}",
            "recall": hits / nearest.size,
            "mean_us": sum(times) / len(times),
            "p50_us": times[len(times) // 2],
            "p99_us": times[len(times) * 99 // 100],
            "build_s": built,
        }


def hnswlib_peer(dimension, wanted):
    import hnswlib

    def build(vectors):
        index = hnswlib.Index(space="ip", dim=dimension)
        index.init_index(max_elements=len(vectors), M=16, ef_construction=200)
        index.set_num_threads(1)
        index.add_items(vectors, num_threads=1)
        return index

    def search(index, task, sight):
        index.set_ef(sight)
        return index.knn_query(task, k=wanted, num_threads=1)[0][0]

    return build, search


def usearch_peer(dimension, wanted):
    from usearch.index import Index

    def build(vectors):
        index = Index(ndim=dimension, metric="ip", dtype="f32", connectivity=16, expansion_add=200)
        index.add(np.arange(len(vectors)), vectors, threads=1)
        return index

    def search(index, task, sight):
        index.expansion_search = sight
        return index.search(task, wanted, threads=1).keys

    return build, search


def main():
    place, dimension, wanted = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sights = [int(sight) for sight in sys.argv[4].split(",")]
    vectors = np.fromfile(f"{place}/vectors.f32", dtype="<f4").reshape(-1, dimension)
    tasks = np.fromfile(f"{place}/tasks.f32", dtype="<f4").reshape(-1, dimension)
    nearest = np.fromfile(f"{place}/nearest.u32", dtype="<u4").reshape(len(tasks), -1)
    out = []
    for name, peer in [("hnswlib", hnswlib_peer), ("usearch", usearch_peer)]:
        try:
            build, search = peer(dimension, wanted)
            out.extend(measure(name, build, search, vectors, tasks, nearest, sights))
        except ImportError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    print(json.dumps(out))


main()
