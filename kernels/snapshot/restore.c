/*
 * restore.c - the program that becomes a prepared interpreter: berm-restore SNAPSHOT HASH.
 *
 * A snapshot (make_snapshot.py has the other half) is the memory of an interpreter that has imported everything and
 * waits in a system call. This program maps it privately where it was, and goes on there: what a fork of such a
 * process would be, but with the namespaces, cgroup, ids, filter, descriptors and everything else of the process
 * that runs this. Unwritten pages stay the file's, so all sandboxes of an image share them.
 *
 * It runs as user code in a sandbox and has no right that such code lacks; a snapshot is worth as much trust as the
 * interpreter's files beside it. What has to fit is checked (CPU, vDSO, the kernel's source), since otherwise the
 * interpreter would crash later; whoever started us then starts one from its program instead.
 *
 * No libc: it is linked below everything else and unmaps what there is, its own stack included. Below, because the
 * kernel puts the program break behind it: the C library of the interpreter, which takes an answer of brk(2) that
 * is above what it asked for as success, has to be told that its heap (which is higher) cannot grow.
 */
#include "snapshot.h"

#include <stddef.h>
#include <stdint.h>

#define SYS_READ       0
#define SYS_WRITE      1
#define SYS_OPEN       2
#define SYS_CLOSE      3
#define SYS_MMAP       9
#define SYS_MUNMAP     11
#define SYS_PREAD      17
#define SYS_MREMAP     25
#define SYS_MADVISE    28
#define SYS_EXIT       60
#define SYS_PRCTL      157
#define SYS_ARCH_PRCTL 158

#define O_CLOEXEC      02000000
#define PROT_RW        3
#define MAP_PRIVATE    0x02
#define MAP_FIXED      0x10
#define MAP_ANONYMOUS  0x20
#define MAP_NORESERVE  0x4000
#define MREMAP_MOVE    3  /* MREMAP_MAYMOVE | MREMAP_FIXED */
#define POPULATE_WRITE 23 /* MADV_POPULATE_WRITE */
#define ARCH_SET_FS    0x1002
#define PR_SET_NAME    15
#define AT_VDSO        33 /* AT_SYSINFO_EHDR */

#define ADDRESS_END    0x7ffffffff000UL
#define TEMPORARY      0x180000000000UL /* for the vDSO while everything else goes */
#define TEMPORARY_END  0x180010000000UL
#define STACK_SIZE     (8UL << 20)

enum failure { BAD_USE = 100, BAD_FILE, BAD_MACHINE, BAD_VDSO, BAD_SOURCE, BAD_MAPPING };

extern char __executable_start[], _end[];

static struct snapshot_header header;
static struct snapshot_segment segments[SNAPSHOT_SEGMENTS_MAX];
static struct snapshot_range hot[SNAPSHOT_HOT_MAX];

static long call(long number, unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e,
                 unsigned long f)
{
    register unsigned long r10 __asm__("r10") = d;
    register unsigned long r8 __asm__("r8") = e;
    register unsigned long r9 __asm__("r9") = f;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static _Noreturn void quit(int status)
{
    for (;;)
        call(SYS_EXIT, (unsigned long)status, 0, 0, 0, 0, 0);
}

static void check(int good, enum failure failure)
{
    if (!good)
        quit((int)failure);
}

static uint64_t hash(uint64_t value, const void *bytes, size_t n)
{
    const unsigned char *at = bytes;

    for (size_t i = 0; i < n; i++)
        value = (value ^ at[i]) * 0x100000001b3UL;
    return value;
}

static void cpuid(uint32_t leaf, uint32_t out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(0));
}

/* What libraries choose their code by, but not which of the machine's CPUs this is. */
static uint64_t cpu_hash(void)
{
    uint64_t value = SNAPSHOT_HASH_START;
    uint32_t out[4];

    cpuid(0, out);
    value = hash(value, out, sizeof(out));
    cpuid(1, out);
    out[1] = 0; /* the APIC id */
    value = hash(value, out, sizeof(out));
    cpuid(7, out);
    value = hash(value, out, 3 * sizeof(out[0]));
    __asm__ volatile("xgetbv" : "=a"(out[0]), "=d"(out[1]) : "c"(0));
    return hash(value, out, 2 * sizeof(out[0]));
}

static uint64_t parse_hex(const char *text)
{
    uint64_t value = 0;

    for (; *text; text++)
        value = value << 4 | (uint64_t)(*text <= '9' ? *text - '0' : *text - 'a' + 10);
    return value;
}

static unsigned long find_vdso(char **argv, int argc)
{
    char **at = argv + argc + 1;
    unsigned long *aux;

    while (*at)
        at++;
    for (aux = (unsigned long *)(at + 1); aux[0]; aux += 2)
        if (aux[0] == AT_VDSO)
            return aux[1];
    return 0;
}

static int open_snapshot(const char *path, const char *wanted_source)
{
    int fd = (int)call(SYS_OPEN, (unsigned long)path, O_CLOEXEC, 0, 0, 0, 0);
    size_t size;

    check(fd >= 0, BAD_FILE);
    check(call(SYS_PREAD, (unsigned long)fd, (unsigned long)&header, sizeof(header), 0, 0, 0) == sizeof(header),
          BAD_FILE);
    check(header.magic == SNAPSHOT_MAGIC && header.segment_count <= SNAPSHOT_SEGMENTS_MAX &&
              header.special_count <= SNAPSHOT_SPECIALS_MAX && header.hot_count <= SNAPSHOT_HOT_MAX,
          BAD_FILE);
    size = header.segment_count * sizeof(segments[0]);
    check(call(SYS_PREAD, (unsigned long)fd, (unsigned long)segments, size, sizeof(header), 0, 0) == (long)size,
          BAD_FILE);
    size = header.hot_count * sizeof(hot[0]);
    check(call(SYS_PREAD, (unsigned long)fd, (unsigned long)hot, size, sizeof(header) + sizeof(segments), 0, 0) ==
              (long)size,
          BAD_FILE);
    check(header.source_hash == parse_hex(wanted_source), BAD_SOURCE);
    check(header.cpu_hash == cpu_hash(), BAD_MACHINE);
    return fd;
}

static void move(unsigned long from, unsigned long size, unsigned long to)
{
    check(call(SYS_MREMAP, from, size, size, MREMAP_MOVE, to, 0) == (long)to, BAD_MAPPING);
}

/*
 * The C library has stored where the vDSO's functions are, so it has to come to where it was, with the pages before
 * it that it reads. The same vDSO has the same layout.
 */
static void move_vdso(unsigned long from, unsigned long to)
{
    for (uint64_t i = 0; i < header.special_count; i++) {
        unsigned long offset = header.specials[i].start - header.vdso;
        move(from + offset, header.specials[i].length, to + offset);
    }
}

static void unmap(unsigned long start, unsigned long end)
{
    check(call(SYS_MUNMAP, start, end - start, 0, 0, 0, 0) == 0, BAD_MAPPING);
}

static void map(unsigned long start, unsigned long length, unsigned long prot, unsigned long flags, long fd,
                unsigned long offset)
{
    check(call(SYS_MMAP, start, length, prot, MAP_PRIVATE | MAP_FIXED | flags, (unsigned long)fd, offset) ==
              (long)start,
          BAD_MAPPING);
}

static void map_all(int fd)
{
    /* Room for the stack to grow into, as the kernel's own stacks have. */
    map(header.stack_end - STACK_SIZE, STACK_SIZE, PROT_RW, MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (uint64_t i = 0; i < header.segment_count; i++) {
        const struct snapshot_segment *s = &segments[i];
        if (s->offset == 0)
            map(s->start, s->length, s->prot, MAP_ANONYMOUS | (s->prot ? 0 : MAP_NORESERVE), -1, 0);
        else
            map(s->start, s->length, s->prot, 0, fd, s->offset);
    }
}

/* Only for speed: kernels before 5.14 do not know it. */
static void populate_hot(void)
{
    for (uint64_t i = 0; i < header.hot_count; i++)
        call(SYS_MADVISE, hot[i].start, hot[i].length, POPULATE_WRITE, 0, 0, 0);
}

static _Noreturn void go_on(void)
{
    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" ::"m"(header.mxcsr), "m"(header.fpu_control));
    __asm__ volatile("mov %0, %%rsp\n\tjmp *%1" ::"r"(header.rsp), "r"(header.rip) : "memory");
    __builtin_unreachable();
}

static _Noreturn void print_fingerprint(unsigned long vdso, unsigned long size)
{
    uint64_t out[2] = { cpu_hash(), hash(SNAPSHOT_HASH_START, (const void *)vdso, size) };

    call(SYS_WRITE, 1, (unsigned long)out, sizeof(out), 0, 0, 0);
    quit(0);
}

_Noreturn void restore_main(unsigned long *stack); /* called from _start, below */

__attribute__((used)) _Noreturn void restore_main(unsigned long *stack)
{
    int argc = (int)stack[0], fd;
    char **argv = (char **)(stack + 1);
    unsigned long vdso = find_vdso(argv, argc);

    check(argc == 3 && vdso != 0, BAD_USE);
    if (argv[1][0] == '-') /* for whoever makes a snapshot: this machine's two hashes; the vDSO's size is given */
        print_fingerprint(vdso, parse_hex(argv[2]));
    fd = open_snapshot(argv[1], argv[2]);
    check(header.vdso_hash == hash(SNAPSHOT_HASH_START, (const void *)vdso, header.vdso_size), BAD_VDSO);
    move_vdso(vdso, TEMPORARY + (TEMPORARY_END - TEMPORARY) / 2);
    unmap(0, (unsigned long)__executable_start);
    unmap(((unsigned long)_end + 4095) & ~4095UL, TEMPORARY);
    unmap(TEMPORARY_END, ADDRESS_END);
    map_all(fd);
    populate_hot();
    move_vdso(TEMPORARY + (TEMPORARY_END - TEMPORARY) / 2, header.vdso);
    call(SYS_CLOSE, (unsigned long)fd, 0, 0, 0, 0, 0);
    call(SYS_PRCTL, PR_SET_NAME, (unsigned long)header.name, 0, 0, 0, 0);
    check(call(SYS_ARCH_PRCTL, ARCH_SET_FS, header.fs, 0, 0, 0, 0) == 0, BAD_MAPPING);
    go_on();
}

__asm__(".globl _start\n"
        "_start:\n"
        "    mov %rsp, %rdi\n"
        "    lea own_stack_end(%rip), %rsp\n"
        "    xor %ebp, %ebp\n"
        "    call restore_main\n"
        ".bss\n"
        ".balign 4096\n"
        "    .skip 16384\n"
        "own_stack_end:\n"
        "    .skip 64\n"
        ".text\n");
