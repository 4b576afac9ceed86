#include "image/erofs.h"

#include "base/sys.h"
#include "image/stage.h"
#include "image/tool.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <openssl/evp.h>
#include <sys/stat.h>

/*
 * The part of the on-disk superblock that is touched here. mkfs.erofs stamps it with the time of the build; only
 * its -T option would not, and that one gives every file the same time as well.
 */
#define EROFS_SUPER_OFFSET      1024
#define EROFS_SUPER_MAGIC       0xE0F5E1E2u
#define EROFS_BLOCK             4096
#define EROFS_FEATURE_SB_CHKSUM 1u
#define EROFS_UUID              "00000000-0000-0000-0000-000000000000"

struct erofs_super {
    uint32_t magic;
    uint32_t checksum; /* CRC-32C of the block from here on, this field counted as zero */
    uint32_t feature_compat;
    uint8_t block_bits;
    uint8_t extra_slots;
    uint16_t root_nid;
    uint64_t inodes;
    uint64_t build_time;
    uint32_t build_time_nsec;
};

static uint32_t crc32c(uint32_t crc, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82F63B78u : 0);
    }
    return crc;
}

static int clear_build_time(const char *file, struct berm_error *err)
{
    uint8_t block[EROFS_BLOCK];
    struct erofs_super super;
    _cleanup_close_ int fd = open(file, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || pread(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", file);
    uint8_t *start = block + EROFS_SUPER_OFFSET;
    memcpy(&super, start, sizeof(super));
    if (le32toh(super.magic) != EROFS_SUPER_MAGIC || super.block_bits != 12)
        return berm_fail(err, BERM_E_INTERNAL, 0, "mkfs.erofs has written a superblock that is not understood");
    super.build_time = 0;
    super.build_time_nsec = 0;
    super.checksum = 0;
    memcpy(start, &super, sizeof(super));
    if (le32toh(super.feature_compat) & EROFS_FEATURE_SB_CHKSUM)
        super.checksum = htole32(crc32c(~0u, start, sizeof(block) - EROFS_SUPER_OFFSET));
    memcpy(start, &super, sizeof(super));
    if (pwrite(fd, block, sizeof(block), 0) != (ssize_t)sizeof(block))
        return berm_fail(err, BERM_E_SYSTEM, errno, "%s", file);
    return 0;
}

int erofs_make(const char *rootfs, const char *file, const struct image_progress *progress, struct berm_error *err)
{
    /* Extended inodes have a time of their own; compact ones share the superblock's. */
    const char *const argv[] = { "mkfs.erofs", "--quiet", "-Eforce-inode-extended", "-U", EROFS_UUID, file,
                                 rootfs,       NULL };
    /* It walks a tree that may come from anybody: it gets the right to read all of it and no other. */
    const struct tool mkfs = { .argv = argv, .capabilities = 1ull << CAP_DAC_READ_SEARCH };
    image_report(progress, "Writing the image", -1, NULL);
    if (tool_run(&mkfs, err) < 0)
        return -1;
    return clear_build_time(file, err);
}

/* Adds a file's bytes; `done` and `total` are for the progress over both files. */
static int digest_file(EVP_MD_CTX *ctx, int fd, uint64_t *done, uint64_t total,
                       const struct image_progress *progress, struct berm_error *err)
{
    enum { CHUNK = 1 << 20 };
    _cleanup_free_ uint8_t *bytes = malloc(CHUNK);
    if (!bytes)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "the digest of the image");
    for (off_t offset = 0;;) {
        ssize_t n = RETRY_EINTR(pread(fd, bytes, CHUNK, offset));
        if (n < 0)
            return berm_fail(err, BERM_E_SYSTEM, errno, "reading the image");
        if (n == 0)
            return 0;
        if (image_interrupted())
            return berm_fail(err, BERM_E_TIMED_OUT, 0, "interrupted");
        if (EVP_DigestUpdate(ctx, bytes, (size_t)n) != 1)
            return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
        offset += n;
        *done += (uint64_t)n;
        if (total > 0)
            image_report(progress, "Computing the digest", (int)(MIN(*done, total) * 100 / total), NULL);
    }
}

static void free_digest(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
}

int image_digest(int rootfs_fd, int config_fd, const struct image_progress *progress,
                 uint8_t digest[IMAGE_DIGEST_BYTES], struct berm_error *err)
{
    struct stat st;
    uint64_t done = 0;
    _cleanup_(free_digest) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    if (fstat(rootfs_fd, &st) < 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "reading the image");
    if (digest_file(ctx, rootfs_fd, &done, (uint64_t)st.st_size, progress, err) < 0 ||
        digest_file(ctx, config_fd, &done, (uint64_t)st.st_size, progress, err) < 0)
        return -1;
    if (EVP_DigestFinal_ex(ctx, digest, NULL) != 1)
        return berm_fail(err, BERM_E_INTERNAL, 0, "SHA-256");
    return 0;
}
