/**
 * What GitHub's runner makes of a line that a step prints: the workflow command in it, or none. Both forms are read: `::name`
 * at the beginning of a line, and `##[name]` anywhere in it.
 *
 * Source: the runner's behaviour, as its documentation of workflow commands and its changelog tell of it.
 */

/** A command as the runner understands it. */
export interface Command {
  readonly name: string
  readonly properties: ReadonlyMap<string, string>
  readonly data: string
}

const data = (text: string): string => text.replaceAll("%0D", "\r").replaceAll("%0A", "\n").replaceAll("%25", "%")

const property = (text: string): string =>
  text.replaceAll("%0D", "\r").replaceAll("%0A", "\n").replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll(
    "%25",
    "%"
  )

const read = (head: string, separator: string, rest: string): Command => {
  const [name = "", ...behind] = head.split(" ")
  const properties = behind.join(" ").split(separator).flatMap((pair): ReadonlyArray<readonly [string, string]> => {
    const at = pair.indexOf("=")
    return at <= 0 ? [] : [[pair.slice(0, at).trim(), property(pair.slice(at + 1))]]
  })
  return { name, properties: new Map(properties), data: data(rest) }
}

/** The command of a line. */
export const commandIn = (line: string): Command | undefined => {
  // What .NET takes for blanks.
  const text = line.replace(/^[\s\u0085]+/, "")
  const end = text.startsWith("::") ? text.indexOf("::", 2) : -1
  if (end > 0) return read(text.slice(2, end), ",", text.slice(end + 2))
  const old = line.indexOf("##[")
  const close = old < 0 ? -1 : line.indexOf("]", old)
  return close < 0 ? undefined : read(line.slice(old + 3, close), ";", line.slice(close + 1))
}

/** The commands of an output, whose lines end as anybody's do. */
export const commandsIn = (output: string): ReadonlyArray<Command> =>
  output.split(/\r\n|\r|\n/).flatMap((line) => commandIn(line) ?? [])
