"""fastconv's functions inside users' own `numba.njit` code. Imported when the first caller is compiled."""
