/* test_energy.c: joules from a made-up /sys and a made-up nvidia-smi. */
#include "unit.h"
#include "study/energy.h"
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char root[] = "/tmp/jetcl-energy-XXXXXX";

static void put(const char *name, const char *text)
{
    arena *a = arena_open("test");
    char *path = arena_printf(a, "%s/%s", root, name), *slash = strrchr(path, '/');
    *slash = 0;
    assert_int_equal(file_mkdirs(path), 0);
    *slash = '/';
    assert_int_equal(file_save(path, text, strlen(text)), 0);
    arena_close(a);
}

static void a_while(void) { nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL); }

/* Two packages, of which one begins again; parts of a package are not counted twice. */
static void packages(void **state)
{
    (void)state;
    struct energy e;
    put("class/powercap/intel-rapl:0/energy_uj", "1000000\n");
    put("class/powercap/intel-rapl:0/max_energy_range_uj", "9000000\n");
    put("class/powercap/intel-rapl:0:0/energy_uj", "5\n");
    put("class/powercap/intel-rapl:1/energy_uj", "8000000\n");
    put("class/powercap/intel-rapl:1/max_energy_range_uj", "9000000\n");
    energy_begin(&e, root, &(struct dev_info){ .cpu_kind = true });
    assert_string_equal(e.from, "RAPL");
    put("class/powercap/intel-rapl:0/energy_uj", "3500000\n");
    put("class/powercap/intel-rapl:0:0/energy_uj", "900000000\n");
    put("class/powercap/intel-rapl:1/energy_uj", "1000000\n");
    energy_tick(&e);
    assert_true(fabs(energy_end(&e) - 4.5) < 1e-9);        // 2.5 J, and from 8 over 9 to 1
    energy_begin(&e, root, &(struct dev_info){ .cpu_kind = true });
    unlink(e.path[0]);
    assert_true(energy_end(&e) == 0);
}

static void cards(void **state)
{
    (void)state;
    struct energy e;
    struct dev_info d = { .gpu_kind = true, .pci = "03:00.0", .vendor = "AMD" }, other = d;
    snprintf(other.pci, sizeof other.pci, "04:00.0");
    put("bus/pci/devices/0000:03:00.0/hwmon/hwmon2/energy1_input", "7000000\n");
    put("bus/pci/devices/0000:03:00.0/hwmon/hwmon2/power1_average", "1\n");
    energy_begin(&e, root, &d);
    assert_string_equal(e.from, "hwmon");
    put("bus/pci/devices/0000:03:00.0/hwmon/hwmon2/energy1_input", "9000000\n");
    assert_true(fabs(energy_end(&e) - 2) < 1e-9);
    put("bus/pci/devices/0000:04:00.0/hwmon/hwmon3/power1_average", "60000000\n");       // 60 W
    energy_begin(&e, root, &other);
    f64 start = e.time;
    a_while();
    f64 joules = energy_end(&e);
    assert_true(fabs(joules - 60 * (e.time - start)) < 1e-9 && joules > 5);
    energy_begin(&e, root, &other);
    e.time += 100;
    energy_tick(&e);
    assert_true(e.joules == 0);                            // it is asked once a second
    start = e.time -= 102;
    put("bus/pci/devices/0000:04:00.0/hwmon/hwmon3/power1_average", "20000000\n");       // 40 W on the way
    energy_tick(&e);
    assert_true(fabs(e.joules - 40 * (e.time - start)) < 1e-9 && e.joules >= 80);
}

static void nvidia(void **state)
{
    (void)state;
    struct energy e;
    arena *a = arena_open("test");
    struct dev_info d = { .gpu_kind = true, .pci = "0f:00.0", .vendor = "NVIDIA Corporation" };
    put("bin/nvidia-smi", "#!/bin/sh\ncase \"$1\" in --id=0000:0f:00.0) echo 200.0 ;; esac\n");
    chmod(arena_printf(a, "%s/bin/nvidia-smi", root), 0755);
    char *before = arena_printf(a, "%s", getenv("PATH"));
    setenv("PATH", arena_printf(a, "%s/bin:%s", root, before), 1);
    energy_begin(&e, root, &d);
    assert_string_equal(e.from, "nvidia-smi");
    f64 start = e.time;
    a_while();
    f64 joules = energy_end(&e);
    assert_true(fabs(joules - 200 * (e.time - start)) < 1e-6 && joules > 15);
    snprintf(d.pci, sizeof d.pci, "10:00.0");
    energy_begin(&e, root, &d);
    assert_true(!*e.from && energy_end(&e) == 0);
    setenv("PATH", before, 1);
    arena_close(a);
}

static void no_source(void **state)
{
    (void)state;
    struct energy e;
    energy_begin(&e, "/nowhere", &(struct dev_info){ .cpu_kind = true });
    energy_tick(&e);
    assert_true(!*e.from && energy_end(&e) == 0);
    energy_begin(&e, "/nowhere", &(struct dev_info){ .gpu_kind = true, .vendor = "Intel" });
    assert_true(!*e.from && energy_end(&e) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(packages), cmocka_unit_test(cards),
                                        cmocka_unit_test(nvidia), cmocka_unit_test(no_source) };
    if (!mkdtemp(root))
        return 1;
    int rc = cmocka_run_group_tests_name("energy", tests, NULL, NULL);
    arena *a = arena_open("test");
    rc |= system(arena_printf(a, "rm -r %s", root)) != 0;
    arena_close(a);
    return rc;
}
