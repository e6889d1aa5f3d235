/**
 * Completion scripts. All of them ask the program itself, by the hidden command `complete`, which prints a candidate and its
 * description a line, and on the last line whether names of files stand here, too.
 */
export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** bash ends words at : and =, so that what stands before the last of them must not be given again; bash 3.2 has no compopt */
const BASH = `# bash completion of limanet; in ~/.bashrc: eval "$(limanet completion bash)"
_limanet() {
  local line=\${COMP_LINE:0:COMP_POINT} words word kept reply
  read -ra words <<<"$line"
  [[ $line == *[[:space:]] ]] && words+=("")
  word=\${words[\${#words[@]}-1]}
  kept=\${word%"\${word##*[:=]}"}
  COMPREPLY=()
  while IFS=$'\\t' read -r reply _; do
    case $reply in
    :none) ;;
    :files) type compopt >/dev/null 2>&1 && compopt -o default ;;
    :folders) type compopt >/dev/null 2>&1 && compopt -o dirnames ;;
    *)
      COMPREPLY+=("\${reply#"$kept"}")
      [[ $reply == *: ]] && type compopt >/dev/null 2>&1 && compopt -o nospace
      ;;
    esac
  done < <("\${words[0]}" complete -- "\${words[@]:1}" 2>/dev/null)
}
complete -F _limanet limanet
`;

const ZSH = `#compdef limanet
# zsh completion of limanet: a file _limanet in a folder of $fpath, or in ~/.zshrc, below compinit: eval "$(limanet completion zsh)"
_limanet() {
  local line word files=none
  local -a lines candidates
  lines=("\${(@f)$("\${(Q)words[1]}" complete -- "\${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  for line in $lines; do
    case $line in
      :(none|files|folders)) files=\${line#:} ;;
      *)
        word=\${line%%$'\\t'*}
        candidates+=("\${word//:/\\\\:}:\${line#*$'\\t'}")
        ;;
    esac
  done
  (( $#candidates )) && _describe -t values value candidates
  case $files in
    files) _files ;;
    folders) _files -/ ;;
  esac
}
if [[ \${funcstack[1]} == _limanet ]]; then _limanet; else compdef _limanet limanet; fi
`;

const FISH = `# fish completion of limanet; in ~/.config/fish/completions/limanet.fish: limanet completion fish | source
function __limanet_complete
  set -l words (commandline -opc)
  set -l current (commandline -ct)
  for line in ($words[1] complete -- $words[2..] $current 2>/dev/null)
    switch $line
      case :none
      case :files
        __fish_complete_path $current
      case :folders
        __fish_complete_directories $current
      case '*'
        echo $line
    end
  end
end
complete -c limanet -f -a '(__limanet_complete)'
`;

export const COMPLETION_SCRIPTS: Record<Shell, string> = { bash: BASH, zsh: ZSH, fish: FISH };
