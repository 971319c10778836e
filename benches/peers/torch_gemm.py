"""PyTorch (oneDNN or MKL): the matrix products of `thinktune bench --part gemm`, the fastest of many."""

import torch
import torch.nn.functional as F

from common import DTYPES, arguments, fastest_seconds, report

PRODUCTS = ((512, 2048, 2048), (1, 2048, 8192), (16, 2048, 8192), (64, 2048, 8192))


@torch.inference_mode()
def main():
    args = arguments(__doc__)
    products = {}
    for m, k, n in PRODUCTS:
        x, w = (torch.randn(shape).to(DTYPES[args.dtype]) for shape in ((m, k), (n, k)))
        taken = fastest_seconds(lambda: F.linear(x, w))
        products[f"{m}x{k}x{n}"] = {"seconds": taken, "gflops": 2e-9 * m * k * n / taken}
    report(products=products)


if __name__ == "__main__":
    main()
