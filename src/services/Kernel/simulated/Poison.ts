/**
 * Calls of helpers that no kernel has, which stand for what is missing: no program that is sound reaches them. The numbers
 * are libbpf's, so that they mean the same in every tool.
 */

/** A CO-RE relocation of something that the kernel does not have. */
export const CORE_POISON = 0x0bad_2310

/** A map that was not created; its number in the plan is added. */
export const MAP_POISON = 2_001_000_000

/** A weak kernel function that is not there; its position among the object's externs is added. */
export const KFUNC_POISON = 2_002_000_000

/** Behind the last of these numbers. */
export const POISON_END = 2_003_000_000

/** Whether a helper's number is one of these. */
export const isPoison = (helper: number): boolean =>
  helper === CORE_POISON || (helper >= MAP_POISON && helper < POISON_END)
