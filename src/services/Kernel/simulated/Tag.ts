/**
 * The tag of a program: the first 8 bytes of the SHA-256 of its instructions, in which references to maps are zero, as
 * Linux computes it since 6.18. Older kernels take SHA-1.
 *
 * Source: `bpf_prog_calc_tag` in `kernel/bpf/core.c`.
 */

import { sha256Words } from "../../../internal/Sha256.ts"

/** The tag of instructions whose references to maps are zero: 16 hexadecimal digits. */
export const progTag = (insns: Uint8Array): string =>
  [...sha256Words(insns).subarray(0, 2)].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("")
