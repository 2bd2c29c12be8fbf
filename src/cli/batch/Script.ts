/**
 * Files of commands in bpftool's grammar. Pure.
 *
 * A line is a command, in words between blanks. What stands between quotes, single or double, is a part of a word as it is; a `#`
 * outside of quotes begins a comment; a line that ends in `\` goes on in the next. Lines without words are no commands.
 */
import * as Result from "effect/Result"
import { UsageError } from "../Usage.ts"

/** A command of a file. */
export interface Command {
  /** The line that it begins in, counted from 1. */
  readonly line: number
  readonly words: ReadonlyArray<string>
}

const isBlank = (character: string): boolean => character === " " || character === "\t" || character === "\r"

/** The commands of a file; `name` is the file, for messages. */
export const parse = (text: string, name: string): Result.Result<ReadonlyArray<Command>, UsageError> => {
  const commands: Array<Command> = []
  let words: Array<string> = []
  /** The word that is being read; `undefined` between words. */
  let word: string | undefined
  let begun = 1
  let line = 1
  const endWord = (): void => {
    if (word !== undefined) words.push(word)
    word = undefined
  }
  const endCommand = (): void => {
    endWord()
    if (words.length > 0) commands.push({ line: begun, words })
    words = []
  }
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? ""
    if (word === undefined && words.length === 0) begun = line
    if (character === "\n") {
      endCommand()
      line++
    } else if (character === "\\" && /^\r?\n/.test(text.slice(at + 1, at + 3))) {
      endWord()
      at += text[at + 1] === "\r" ? 2 : 1
      line++
    } else if (character === "#") {
      const end = text.indexOf("\n", at)
      at = (end < 0 ? text.length : end) - 1
    } else if (character === "\"" || character === "'") {
      const end = text.indexOf(character, at + 1)
      const quoted = end < 0 ? undefined : text.slice(at + 1, end)
      if (quoted === undefined || quoted.includes("\n")) {
        return Result.fail(
          new UsageError({
            argument: `${name}:${line}`,
            detail: `the quote ${character} is not closed in its line`,
            hint: "nothing has been run"
          })
        )
      }
      word = (word ?? "") + quoted
      at = end
    } else if (isBlank(character)) endWord()
    else word = (word ?? "") + character
  }
  endCommand()
  return Result.succeed(commands)
}
