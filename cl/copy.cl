/* copy.cl: y = a x, the plainest kernel there is: what core/dev's own tests launch.
 * One item per element; groups of WG. Bound: 8 bytes an element. */
#ifndef WG
#define WG 64
#endif

kernel void copy_scaled(global const float *x, global float *y, const int n, const float a)
{
    int i = get_global_id(0);
    if (i < n)
        y[i] = a * x[i];
}
