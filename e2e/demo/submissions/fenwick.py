#!/usr/bin/env python3
# expect: AC AC AC AC
"""Counts inversions with a Fenwick tree over the ranks of the values."""
import sys


def main():
    values = list(map(int, sys.stdin.read().split()))[1:]
    rank = {v: i + 1 for i, v in enumerate(sorted(set(values)))}
    tree = [0] * (len(rank) + 1)
    count = 0
    for seen, value in enumerate(values):
        i = rank[value]
        not_greater = 0
        while i:
            not_greater += tree[i]
            i &= i - 1
        count += seen - not_greater
        i = rank[value]
        while i < len(tree):
            tree[i] += 1
            i += i & -i
    print(count)


main()
