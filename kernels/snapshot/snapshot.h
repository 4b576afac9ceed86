/*
 * snapshot.h - the file that restore.c reads and make_snapshot.py writes: header, SNAPSHOT_SEGMENTS_MAX segments,
 * SNAPSHOT_HOT_MAX hot ranges, pages. Native words.
 */
#pragma once

#include <stdint.h>

#define SNAPSHOT_MAGIC        0x32306d7265427953UL /* changes with the layout */
#define SNAPSHOT_HASH_START   0xcbf29ce484222325UL /* FNV-1a, 64 bits */
#define SNAPSHOT_SEGMENTS_MAX 4096
#define SNAPSHOT_SPECIALS_MAX 6
#define SNAPSHOT_HOT_MAX      1024

struct snapshot_range {
    uint64_t start, length;
};

struct snapshot_header {
    uint64_t magic;
    uint64_t source_hash; /* of the kernel's text: another version speaks another language */
    uint64_t cpu_hash;
    uint64_t vdso_hash;
    uint64_t vdso, vdso_size;
    uint64_t rsp, rip, fs;
    uint64_t stack_end;
    uint32_t mxcsr;
    uint32_t fpu_control;
    uint64_t special_count; /* the mappings of the vDSO and its data, in ascending order */
    struct snapshot_range specials[SNAPSHOT_SPECIALS_MAX];
    char name[16];
    uint64_t segment_count;
    uint64_t hot_count;
};

struct snapshot_segment {
    uint64_t start, length;
    uint64_t offset; /* in the file, a multiple of the page size; 0: zeros */
    uint64_t prot;   /* as for mmap(2) */
};

/* Hot are the pages that every context writes to before its first result: they are copied in one go instead of by a
 * fault each. Of ranges: struct snapshot_range. */
