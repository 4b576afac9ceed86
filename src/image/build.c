/* build.c - an image from a recipe: image/build-rootfs makes its files. */
#include "image/recipe.h"
#include "image/stage.h"
#include "image/tool.h"
#include "image/tree.h"

#include "base/loop.h"
#include "base/sys.h"

#include <fcntl.h>

/* The script prints "@stage TEXT" and "@percent N" between the lines of the tools that it runs. */
struct build_progress {
    const struct image_progress *progress;
    char stage[80];
    int percent;
};

static void on_line(void *arg, const char *text)
{
    struct build_progress *p = arg;
    struct str line = str_from(text);
    uint64_t percent;
    if (str_has_prefix(line, STR("@stage "))) {
        snprintf(p->stage, sizeof(p->stage), "%.*s", (int)sizeof(p->stage) - 1, text + strlen("@stage "));
        p->percent = -1;
        image_report(p->progress, p->stage, -1, NULL);
    } else if (str_has_prefix(line, STR("@percent "))) {
        size_t skip = strlen("@percent ");
        if (str_to_u64((struct str){ text + skip, line.n - skip }, &percent) == 0 && percent <= 100)
            p->percent = (int)percent;
        image_report(p->progress, p->stage, p->percent, NULL);
    } else {
        image_report(p->progress, p->stage, p->percent, text);
    }
}

static int read_recipe(const char *recipe_dir, struct arena *arena, struct recipe *ret, struct berm_error *err)
{
    _cleanup_close_ int dir = open(recipe_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return berm_fail(err, BERM_E_NOT_FOUND, errno, "the recipe %s", recipe_dir);
    _cleanup_free_ char *text = malloc(RECIPE_CONFIG_MAX);
    if (!text)
        return berm_fail(err, BERM_E_SYSTEM, ENOMEM, "the recipe %s", recipe_dir);
    ssize_t n = read_small_file(dir, "config", text, RECIPE_CONFIG_MAX);
    if (n < 0)
        return berm_fail(err, errno == ENOENT ? BERM_E_NOT_FOUND : BERM_E_SYSTEM, errno, "%s/config", recipe_dir);
    return recipe_parse(arena, (struct str){ text, (size_t)n }, ret, err);
}

/* PLACE/NAME for the first of `places`, relative to this program's directory, that has it. 0, 1 when none has, or
 * -1.
 */
static int find_beside(const char *const *places, size_t count, const char *name, char *out, size_t out_size,
                       struct berm_error *err)
{
    char exe[PATH_MAX], candidate[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return berm_fail(err, BERM_E_SYSTEM, errno, "the path of this program");
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    for (size_t i = 0; i < count; i++) {
        char *real;
        if (snprintf(candidate, sizeof(candidate), "%s/%s/%s", exe, places[i], name) >= (int)sizeof(candidate) ||
            !(real = realpath(candidate, NULL)))
            continue;
        int rc = str_copy(str_from(real), out, out_size);
        free(real);
        return rc == 0 ? 0 : berm_fail(err, BERM_E_SYSTEM, ENAMETOOLONG, "%s", name);
    }
    return 1;
}

int image_recipe_find(const char *name, char *out, size_t out_size, struct berm_error *err)
{
    /* PREFIX/bin/berm has PREFIX/share/berm/image; <tree>/build/berm and <tree>/build/src/cli/berm have
     * <tree>/image. */
    static const char *const places[] = { "../share/berm/image", "../image", "../../../image" };
    int rc = find_beside(places, ARRAY_SIZE(places), name, out, out_size, err);
    return rc == 1 ? berm_fail(err, BERM_E_NOT_FOUND, 0, "there is no recipe called %s beside this program", name)
                   : rc;
}

/* The program that goes into images with a snapshot; "" where there is none, as on other machines than x86-64. */
static int find_restore(char *out, size_t out_size, struct berm_error *err)
{
    static const char *const places[] = { "../libexec/berm", ".", "../../kernels" };
    int rc = find_beside(places, ARRAY_SIZE(places), "berm-restore", out, out_size, err);
    if (rc == 1)
        out[0] = '\0';
    return rc < 0 ? -1 : 0;
}

static int run_recipe(struct image_stage *stage, const char *recipe_dir, const struct recipe *recipe,
                      const struct image_progress *progress, struct berm_error *err)
{
    char script[PATH_MAX], restore[PATH_MAX];
    struct build_progress state = { .progress = progress, .stage = "Preparing", .percent = -1 };
    int64_t started = clock_realtime_ms();
    if (image_recipe_find("build-rootfs", script, sizeof(script), err) < 0 ||
        find_restore(restore, sizeof(restore), err) < 0)
        return -1;
    const char *const argv[] = { script, recipe_dir, stage->rootfs, recipe->suite, recipe->variant, restore, NULL };
    const struct tool tool = { .argv = argv, .contained = true, .on_line = on_line, .arg = &state };
    if (tool_run(&tool, err) < 0)
        return -1;
    return tree_clamp_times(stage->rootfs, started / 1000, err);
}

int image_build(const char *images_dir, const char *name, const char *recipe_dir,
                const struct image_progress *progress, struct image *ret, struct berm_error *err)
{
    if (!image_name_valid(str_from(name)))
        return berm_fail_field(err, "name", "not an image name (a-z, 0-9 and ._-, at most 64)");
    if (geteuid() != 0)
        return berm_fail(err, BERM_E_FORBIDDEN, 0, "building an image needs root");
    struct arena arena;
    struct recipe recipe;
    struct image_stage stage;
    arena_init(&arena, 1 << 20);
    int rc = read_recipe(recipe_dir, &arena, &recipe, err);
    if (rc == 0)
        rc = image_stage_begin(&stage, images_dir, err);
    if (rc == 0) {
        rc = run_recipe(&stage, recipe_dir, &recipe, progress, err);
        if (rc == 0)
            rc = image_stage_publish(&stage, name, &recipe.config, progress, ret, err);
        image_stage_end(&stage);
    }
    arena_free(&arena);
    return rc;
}
