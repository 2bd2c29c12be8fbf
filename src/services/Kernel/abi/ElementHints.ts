/**
 * What an error number most likely means of a call on many elements, or of one that takes elements away as it reads them.
 *
 * Source: `kernel/bpf/syscall.c`, `kernel/bpf/hashtab.c`.
 */
import type { ElementCalls } from "../calls/ElementCalls.ts"
import { either, type Hint } from "./GeneralHints.ts"

/** The hints of these calls; `general` is what an error means whatever the call was. */
export const ofElements = (general: Hint): { readonly [T in keyof ElementCalls]: Hint } => {
  const rights = "the map is frozen, or its flags do not let user space do this, or the process may not use maps"
  const oneByOne =
    "neither maps of this type nor, perhaps, any other of this kernel do this: go through the elements one by one"
  return {
    MapLookupAndDelete: either(general, {
      EINVAL:
        "the map does not take this flag, or its elements have no lock (BPF_F_LOCK), or the kernel is older than 4.20",
      EPERM: rights,
      EBUSY: "the element is in use: repeat the call",
      ENOTSUPP: "this kernel takes nothing from maps of this type: look the element up, then delete it",
      EOPNOTSUPP: "this kernel takes nothing from maps of this type: look the element up, then delete it"
    }),
    MapLookupBatch: either(general, {
      EINVAL:
        "the map does not take this flag, or its elements have no lock (BPF_F_LOCK), or the kernel is older than 5.6",
      ENOSPC: "more elements share a place of the hash than there is room for: ask for more",
      EPERM: rights,
      EFAULT: "where the last batch has ended is not of this map",
      ENOENT: "this was the last element",
      EBUSY: "a part of the map is in use: repeat the call",
      EINTR: "programs change the map faster than it is read: repeat the call",
      ENOTSUPP: oneByOne,
      EOPNOTSUPP: oneByOne
    }),
    MapUpdateBatch: either(general, {
      EINVAL:
        "the map does not take this flag in a batch, or its elements have no lock (BPF_F_LOCK), or the kernel is older " +
        "than 5.6",
      E2BIG: "the map is full, or the index is beyond the last element",
      EPERM: rights,
      ENOTSUPP: oneByOne,
      EOPNOTSUPP: oneByOne
    }),
    MapDeleteBatch: either(general, {
      EINVAL: "the map does not take this flag in a batch, or the kernel is older than 5.6",
      ENOENT: "the map has no element of this key",
      EPERM: rights,
      ENOTSUPP: oneByOne,
      EOPNOTSUPP: oneByOne
    })
  }
}
