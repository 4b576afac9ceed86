# bash completion for berm. Verbs and options come from the program itself, ids from the daemon.

_berm_verb() {
    # The verb before the cursor: one word, or two for those like "image build".
    local words=() word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* || $word == = ]] || words+=("$word")
    done
    case ${words[0]-} in
        bucket | code | context | egress | file | git | image | key | pool | port | process | secret | session | tunnel)
            echo "${words[0]}${words[1]+ ${words[1]}}"
            ;;
        *) echo "${words[0]-}" ;;
    esac
}

_berm_ids() {
    "${COMP_WORDS[0]}" ls -q 2>/dev/null
}

_berm() {
    local current=${COMP_WORDS[COMP_CWORD]} verb line
    local -a candidates=()
    COMPREPLY=()
    verb=$(_berm_verb)

    if [[ $current == -* ]]; then
        # shellcheck disable=SC2086 # a verb of two words is two arguments
        mapfile -t candidates < <("${COMP_WORDS[0]}" help --flags $verb; "${COMP_WORDS[0]}" help --flags)
        mapfile -t COMPREPLY < <(compgen -W "${candidates[*]}" -- "$current" | sort -u)
        [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
        return
    fi
    case $verb in
        '' | help)
            while read -r line; do candidates+=("${line%% *}"); done < <("${COMP_WORDS[0]}" help --list)
            ;;
        code | context | egress | file | git | image | key | pool | port | process | secret | session | tunnel)
            while read -r line; do
                [[ $line == "$verb "* ]] && candidates+=("${line#* }")
            done < <("${COMP_WORDS[0]}" help --list)
            ;;
        exec | shell | inspect | logs | events | stats | label | env | rm | ps | watch | persist | hydrate | \
            'bucket '* | 'code '* | 'context '* | 'egress '* | 'file '* | 'git '* | 'port '* | 'process '* | 'session '* | 'tunnel '*)
            mapfile -t candidates < <(_berm_ids)
            ;;
        cp)
            mapfile -t candidates < <(_berm_ids)
            candidates=("${candidates[@]/%/:}")
            compopt -o nospace -o default
            ;;
        'image rm')
            mapfile -t candidates < <("${COMP_WORDS[0]}" image ls 2>/dev/null | tail -n +2 | cut -d ' ' -f 1)
            ;;
        *) compopt -o default ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "${candidates[*]}" -- "$current" | sort -u)
}

complete -F _berm berm
