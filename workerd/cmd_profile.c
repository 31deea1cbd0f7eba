/*
 * `workerd profile [NAME|FILE]`: a profile, validated and with all its members
 * stated, to be read, copied and edited (docs/profiles.md).
 */

#include "workerd/commands.h"

#include "lib/profile.h"

#include <stdio.h>
#include <string.h>

int
avp_profile_main(int argc, char **argv)
{
    const char   *name = argc > 1 ? argv[1] : "balanced";
    avp_profile_t p;
    char          err[AVP_PROFILE_ERROR];
    json_t       *v;
    int           rc;

    if (argc > 2 || name[0] == '-') {
        bool help = argc == 2 && strcmp(name, "--help") == 0;

        fprintf(help ? stdout : stderr,
                "usage: workerd profile [fast|balanced|quality|FILE.json]\n");
        return help ? AVP_EXIT_OK : AVP_EXIT_USAGE;
    }

    if (avp_profile_load(&p, name, err)) {
        avp_command_error("%s", err);
        return AVP_EXIT_FAILED;
    }

    v = avp_profile_json(&p);
    rc = v ? json_dumpf(v, stdout, JSON_INDENT(2)) : -1;
    json_decref(v);
    putchar('\n');
    return rc == 0 && fflush(stdout) == 0 ? AVP_EXIT_OK : AVP_EXIT_FAILED;
}
