"""CSV and libsvm as XGBoost's image reads them."""

import csv

import numpy as np
import scipy.sparse


def delimiter(line):
    found = csv.Sniffer().sniff(line[:512]).delimiter if any(c in line for c in ",;\t |:") else ","
    return "," if found.isalnum() or found in ".-+" else found


def from_csv(text):
    """An array of numbers, NaN where there is nothing."""
    lines = text.strip().splitlines()
    by = delimiter(lines[0])
    return np.array([[float(x) if x.strip() else np.nan for x in line.split(by)] for line in lines])


def from_libsvm(text, columns=0, labelled=False):
    """Labels, weights, and a sparse matrix of at least so many columns.

    A line is "label[:weight] index:value ...". A request need not have labels,
    and has no weights.
    """
    labels, weights, data, indices, starts = [], [], [], [], [0]
    for number, line in enumerate(text.splitlines(), 1):
        tokens = line.split("#", 1)[0].split()
        if not tokens:
            continue
        try:
            label, weight = "nan", ""
            if labelled or ":" not in tokens[0]:
                label, _, weight = tokens.pop(0).partition(":")
            labels.append(float(label))
            weights.append(float(weight) if weight else 1.0)
            for token in tokens:
                index, _, value = token.partition(":")
                if index == "qid":
                    raise ValueError("groups (qid) are not supported")
                indices.append(int(index))
                data.append(float(value))
        except ValueError as e:
            raise ValueError("line %d is not libsvm: %s" % (number, e)) from None
        starts.append(len(data))
    width = max(columns, max(indices, default=-1) + 1)
    return np.array(labels), np.array(weights), scipy.sparse.csr_matrix((data, indices, starts), shape=(len(labels), width))
