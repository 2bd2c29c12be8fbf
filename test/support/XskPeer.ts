/** The other side of AF_XDP sockets in C, over the kernel's header alone: `bench/peers/xsk/xsk_peer.c`. */
import * as Fs from "node:fs"
import * as Path from "node:path"
import { repository, run } from "./Require.ts"

const source = Path.join(repository, "bench/peers/xsk/xsk_peer.c")
const built = Path.join(repository, "bench/peers/build/xsk_peer")

/** The peer's executable, built where it is older than its source; a string that is none says why there is none. */
export const peer = (): { readonly path: string } | { readonly reason: string } => {
  if (Fs.existsSync(built) && Fs.statSync(built).mtimeMs > Fs.statSync(source).mtimeMs) return { path: built }
  Fs.mkdirSync(Path.dirname(built), { recursive: true })
  // Under another name first: tests that run at the same time may use the old one.
  const fresh = `${built}.${process.pid}`
  const made = run("cc", ["-std=gnu11", "-O2", "-Wall", "-Wextra", source, "-o", fresh])
  if (made.status !== 0) return { reason: made.stderr }
  Fs.renameSync(fresh, built)
  return { path: built }
}
