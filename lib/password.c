#include "lib/password.h"

#include <stdint.h>
#include <sys/random.h>

#include <argon2.h>

#define MEMORY_KIB 65536
#define PASSES 2
#define LANES 1
#define SALT_LEN 16
#define HASH_LEN 32

int
avp_password_hash(char dst[AVP_PASSWORD_HASH_MAX], avp_str_t password)
{
    uint8_t salt[SALT_LEN];

    if (password.len < AVP_PASSWORD_MIN || password.len > AVP_PASSWORD_MAX
        || getrandom(salt, sizeof(salt), 0) != (ssize_t)sizeof(salt))
    {
        return -1;
    }

    return argon2id_hash_encoded(PASSES, MEMORY_KIB, LANES, password.data,
                                 password.len, salt, sizeof(salt), HASH_LEN,
                                 dst, AVP_PASSWORD_HASH_MAX)
                   == ARGON2_OK
               ? 0
               : -1;
}

int
avp_password_verify(const char *hash, avp_str_t password)
{
    /* longer ones are never stored, and are not worth the time */
    if (password.len > AVP_PASSWORD_MAX) {
        return 0;
    }

    switch (argon2id_verify(hash, password.data, password.len)) {
    case ARGON2_OK:
        return 1;
    case ARGON2_VERIFY_MISMATCH:
        return 0;
    default:
        return -1;
    }
}
