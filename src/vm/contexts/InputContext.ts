/** The context that a test run was given, as the kernel takes it. */
import { numbers } from "../../services/Kernel/abi/Errno.ts"
import type { TestRunInput } from "./Contexts.ts"

/**
 * The context as a copy of `size` bytes, padded with zeros; undefined where none was given and none is wanted; `E2BIG` where
 * there is more than zeros beyond, or more than a page.
 */
export const inputContext = (input: TestRunInput, size: number): Uint8Array<ArrayBuffer> | undefined | number => {
  const bytes = input.contextIn ?? new Uint8Array(0)
  if (bytes.length === 0 && !input.contextOutSize) return undefined
  if (bytes.length > 4096) return numbers.E2BIG
  if (bytes.subarray(size).some((byte) => byte !== 0)) return numbers.E2BIG
  const context = new Uint8Array(size)
  context.set(bytes.subarray(0, size))
  return context
}
