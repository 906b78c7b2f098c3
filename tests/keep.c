/* keep.c: preloaded, it keeps every library where it is, so that LeakSanitizer knows at the end whose a leak
 * is, and lsan.supp can leave those of libraries out. */
int dlclose(void *handle);
int dlclose(void *handle)
{
    (void)handle;
    return 0;
}
