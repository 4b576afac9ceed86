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
    "${COMP_WORDS[0]}" ls -q 2>/dev/null | grep -x '[a-z2-7][a-z2-7]*'
}

_berm_offer() {
    # Not by compgen -W, which runs what stands in its words.
    local word
    for word in "${candidates[@]}"; do
        [[ $word == "$current"* && " ${COMPREPLY[*]} " != *" $word "* ]] && COMPREPLY+=("$word")
    done
}

_berm() {
    local current=${COMP_WORDS[COMP_CWORD]} verb line
    local -a candidates=()
    COMPREPLY=()
    verb=$(_berm_verb)

    if [[ $current == -* ]]; then
        # shellcheck disable=SC2086 # a verb of two words is two arguments
        mapfile -t candidates < <("${COMP_WORDS[0]}" help --flags $verb; "${COMP_WORDS[0]}" help --flags)
        _berm_offer
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
            mapfile -t candidates < <("${COMP_WORDS[0]}" image ls 2>/dev/null | tail -n +2 | cut -d ' ' -f 1 | grep -x '[A-Za-z0-9._/:@-][A-Za-z0-9._/:@-]*')
            ;;
        *) compopt -o default ;;
    esac
    _berm_offer
}

complete -F _berm berm
