"""LLVM IR: vectors, register tiles, packing and pools as intrinsics; no loop over a whole array stands here."""
