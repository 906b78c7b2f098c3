# order.awk: `nm -A -P` of a folder's objects, each of which may use only those before it in `order`.
BEGIN { n = split(order, name, " "); for (i = 1; i <= n; i++) at[name[i]] = i }
{
    sub(/\.o:$/, "", $1)
    file[$1] = 1
    if ($3 == "U")
        used[$1 " " $2] = 1
    else if ($3 ~ /[A-Z]/)
        home[$2] = $1
}
END {
    for (f in file)
        if (!at[f]) { print dir "/" f ".c: not in its header's Order"; bad = 1 }
    for (u in used) {
        split(u, p, " ")
        if (p[2] in home && at[home[p[2]]] > at[p[1]]) {
            print dir "/" p[1] ".c uses " p[2] " of " home[p[2]] ".c, which stands after it in Order"; bad = 1 }
    }
    exit bad
}
