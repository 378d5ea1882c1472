# build_name.cmake - what engine and helper call the build that they are of
#
# usage: cmake -DROOT=FOLDER -DVERSION=N -DOUT=FILE -P build_name.cmake FILE...
#
# The version, and a digest of the sources that both ends of their socket are made of: two builds of one version
# whose messages may differ are told apart, and the same sources give the same name.
foreach(at RANGE 7 ${CMAKE_ARGC})
    if(at LESS CMAKE_ARGC)
        file(SHA256 "${ROOT}/${CMAKE_ARGV${at}}" one)
        string(APPEND all "${one}")
    endif()
endforeach()
string(SHA256 all "${all}")
string(SUBSTRING "${all}" 0 12 id)
file(WRITE "${OUT}" "extern const char nj_build_name[];\nconst char nj_build_name[] = \"${VERSION} (build ${id})\";\n")
