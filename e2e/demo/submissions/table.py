#!/usr/bin/env python3
# expect: AC AC MLE
"""Keeps a counter for every value up to the greatest one."""
import sys


def main():
    values = list(map(int, sys.stdin.read().split()))[1:]
    tree = [0] * (max(values) + 2)
    count = 0
    for seen, value in enumerate(values):
        i = value + 1
        while i:
            count -= tree[i]
            i &= i - 1
        count += seen
        i = value + 1
        while i < len(tree):
            tree[i] += 1
            i += i & -i
    print(count)


main()
