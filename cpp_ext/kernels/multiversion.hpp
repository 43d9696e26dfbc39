#pragma once

#include <cstddef>  // defines __GLIBC__ where that is the C library

// Compiles a hot loop once per instruction set and picks one at load time. It needs GNU ifuncs, so
// elsewhere (aarch64, musl, macOS) the loop is compiled once for the baseline. AVX-512 means all
// of x86-64-v4: with its foundation alone, GCC gives up on the narrowing stores.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define BMOPT_MULTIVERSION __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#elif defined(__x86_64__) && defined(__GLIBC__) && \
    (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 8)
#define BMOPT_MULTIVERSION __attribute__((target_clones("avx2", "default")))
#else
#define BMOPT_MULTIVERSION
#endif
